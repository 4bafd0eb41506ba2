# Lost votes are asked for again: the same attempt, never an abort because time has passed
txn t1: 1 alice -5; 2 bob +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> wait 600 ms
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 1: t1 #1 yes at @8
> wait 600 ms
< s1 to 2: prepare t1 #1 in epoch 1
> wait 600 ms
< s1 to 2: prepare t1 #1 in epoch 1
> wait 600 ms
< s1 to 2: prepare t1 #1 in epoch 1
< s1 to 1: open t1
# By now the home may know more than this attempt will ever learn.
> s1 from 1: t1 known: committed at @80 by 1.9, of 1 2
< call 1: committed at @80, home 1 logged it as 1.0
