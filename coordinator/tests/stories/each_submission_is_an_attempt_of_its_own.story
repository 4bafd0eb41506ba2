# The same id submitted twice is two attempts: a vote on one says nothing of the other
txn t1: 1 alice -5; 2 bob +5

> submit t1 as call 1
> submit t1 as call 2
> s1 from 1: t1 #1 yes at @8
> s2 from 1: t1 #1b no, busy
> s1 from 2: t1 #1b yes at @8
> s1 from 2: t1 #1 yes at @8
> s2 from 1: t1 known: committed at @8 by 1.2, of 1 2
