# One no ends the attempt everywhere, and the home is asked to drive the next ones
txn t1: 1 alice -5; 2 bob +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 1: t1 #1 yes at @8
> s1 from 2: t1 #1 no, busy
< s1 to 1: abort t1 #1
< s1 to 2: abort t1 #1
< s1 to 1: open t1
> s1 from 1: t1 opened in epoch 1
# A late vote on the attempt that was given up says nothing.
> s1 from 2: t1 #1 yes at @8
> s1 from 1: t1 known: committed at @80 by 1.9, of 1 2
< call 1: committed at @80, home 1 logged it as 1.0
