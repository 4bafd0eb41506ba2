# One participant refused, durably: the attempt is aborted everywhere
txn t1: 1 alice -5; 2 bob +5

> recover t1 #1
< s1 to 1: resolve t1 #1
< s1 to 2: resolve t1 #1
> s1 from 1: t1 #1 resolved: prepared at @16
> s1 from 2: t1 #1 resolved: refused
< s1 to 1: abort t1 #1
< s1 to 2: abort t1 #1
