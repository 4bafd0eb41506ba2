# Recovery asks every participant; all have promised: it is committed
txn t1: 1 alice -5; 2 bob +5

> recover t1 #1
< s1 to 1: resolve t1 #1
< s1 to 2: resolve t1 #1
> s1 from 2: t1 #1 resolved: prepared at @16
> wait 600 ms
< s1 to 1: resolve t1 #1
> s1 from 1: t1 #1 resolved: prepared at @8
< s1 to 1: commit t1 #1 at @16
< s1 to 2: commit t1 #1 at @16
