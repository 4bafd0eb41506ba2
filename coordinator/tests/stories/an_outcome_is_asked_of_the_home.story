# With a locator the home alone is asked
txn t1: 1 alice -5; 2 bob +5

> outcome t1 as call 1 home 1
< s1 to 1: ask t1
> s1 from 1: t1 known: committed at @8 by 1.4, of 1 2
< call 1: committed at @8, home 1 logged it as 1.4
> outcome t1 as call 2 home 1
< s2 to 1: ask t1
> s2 from 1: t1 known: nothing
< call 2: unknown
> outcome t1 as call 3 home 1
< s3 to 1: ask t1
> s3 from 1: t1 known: open, of 1 2
< call 3: open
> outcome t1 as call 4 home 1
< s4 to 1: ask t1
> s4 from 1: t1 known: too old, floor -500
< call 4: too old, floor -500
> outcome t1 as call 5 home 1 wait committed
< s5 to 1: ask t1 wait
> s5 from 1: t1 known: closed: fenced, of 1 2
< call 5: aborted, fenced
> outcome t1 as call 6 home 1 wait applied
< s6 to 1: ask t1 wait
> s6 from 1: t1 known: committed at @8 by 1.4, of 1 2
< s6 to 1: await t1
< s6 to 2: await t1
> s6 from 2: t1 applied
> s6 from 1: t1 applied
< call 6: committed at @8, home 1 logged it as 1.4, applied
