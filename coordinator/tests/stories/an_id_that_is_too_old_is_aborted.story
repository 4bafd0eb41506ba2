# An id below one participant's floor is not committed by this attempt
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 carol -5; 2 dave +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 1: t1 #1 too old, floor -500
< s1 to 1: abort t1 #1
< s1 to 2: abort t1 #1
< call 1: too old, floor -500
> submit t2 as call 2
< s2 to 1: prepare t2 #1 in epoch 1 with the whole
< s2 to 2: prepare t2 #1 in epoch 1
> s2 from 2: t2 #1 from the future
< s2 to 1: abort t2 #1
< s2 to 2: abort t2 #1
< call 2: from the future
