# The same id submitted twice is two attempts: a vote on one says nothing of the other
txn t1: 1 alice -5; 2 bob +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> submit t1 as call 2
< s2 to 1: prepare t1 #1b in epoch 1 with the whole
< s2 to 2: prepare t1 #1b in epoch 1
> s1 from 1: t1 #1 yes at @8
> s2 from 1: t1 #1b no, busy
< s2 to 1: abort t1 #1b
< s2 to 2: abort t1 #1b
< s2 to 1: open t1
> s1 from 2: t1 #1b yes at @8
> s1 from 2: t1 #1 yes at @8
< s1 to 1: commit t1 #1 at @8
< s1 to 2: commit t1 #1 at @8
< call 1: committed at @8, home 1 logged it as 1.0
> s2 from 1: t1 known: committed at @8 by 1.2, of 1 2
< call 2: committed at @8, home 1 logged it as 1.0
