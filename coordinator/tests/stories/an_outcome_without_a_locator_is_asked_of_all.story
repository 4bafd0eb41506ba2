# Without a locator every shard is asked; one that holds a promise names the home
txn t1: 1 alice -5; 2 bob +5

> outcome t1 as call 1
< s1 to 0: ask t1
< s1 to 1: ask t1
< s1 to 2: ask t1
< s1 to 3: ask t1
> s1 from 0: t1 known: nothing
> s1 from 2: t1 known: prepared, of 1 2
< s1 to 1: ask t1
> s1 from 1: t1 known: open, of 1 2
< call 1: open
> outcome t1 as call 2
< s2 to 0: ask t1
< s2 to 1: ask t1
< s2 to 2: ask t1
< s2 to 3: ask t1
> s2 from 0: t1 known: nothing
> s2 from 1: t1 known: nothing
> s2 from 2: t1 known: nothing
> wait 600 ms
< s2 to 3: ask t1
> s2 from 3: t1 known: nothing
< call 2: unknown
> outcome t1 as call 3
< s3 to 0: ask t1
< s3 to 1: ask t1
< s3 to 2: ask t1
< s3 to 3: ask t1
> s3 from 0: t1 known: too old, floor -500
> s3 from 1: t1 known: nothing
> s3 from 2: t1 known: committed at @8 by 1.4, of 1 2
< call 3: committed at @8, home 1 logged it as 0.0
