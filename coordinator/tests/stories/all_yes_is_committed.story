# All participants promise: committed at the greatest proposal, and nothing else is waited for
txn t1: 1 alice -5; 2 bob +5; 3 carol +1

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
< s1 to 3: prepare t1 #1 in epoch 1
> s1 from 2: t1 #1 yes at @8
> s1 from 1: t1 #1 yes at @24
> s1 from 3: t1 #1 yes at @16
< s1 to 1: commit t1 #1 at @24
< s1 to 2: commit t1 #1 at @24
< s1 to 3: commit t1 #1 at @24
< call 1: committed at @24, home 1 logged it as 1.0
