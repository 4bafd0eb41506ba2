# A fence without a locator closes on every shard; one that holds a promise leads to the home
txn t1: 1 alice -5; 2 bob +5

> outcome t1 as call 1 fence
< s1 to 0: fence t1
< s1 to 1: fence t1
< s1 to 2: fence t1
< s1 to 3: fence t1
> s1 from 0: t1 known: closed: fenced
> s1 from 1: t1 known: closed: fenced
> s1 from 3: t1 known: closed: fenced
> s1 from 2: t1 known: closed: fenced
< call 1: aborted, fenced
> outcome t1 as call 2 fence
< s2 to 0: fence t1
< s2 to 1: fence t1
< s2 to 2: fence t1
< s2 to 3: fence t1
> s2 from 0: t1 known: closed: fenced
> s2 from 3: t1 known: closed: fenced
> s2 from 2: t1 known: prepared, of 1 2
< s2 to 1: fence t1
> s2 from 1: t1 known: closed: fenced, of 1 2
< call 2: aborted, fenced
> outcome t1 as call 3 fence home 1
< s3 to 1: fence t1
> s3 from 1: t1 known: committed at @8 by 1.4, of 1 2
< call 3: committed at @8, home 1 logged it as 1.4
