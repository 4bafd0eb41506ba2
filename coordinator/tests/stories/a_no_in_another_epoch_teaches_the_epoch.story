# Told that a shard is led in another epoch, the next attempt expects that one
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 alice -5; 2 bob +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 2: t1 #1 no, led in epoch 3
< s1 to 1: abort t1 #1
< s1 to 2: abort t1 #1
< s1 to 1: open t1
> submit t2 as call 2
< s2 to 1: prepare t2 #1 in epoch 1 with the whole
< s2 to 2: prepare t2 #1 in epoch 3
> s2 from 1: not leading, epoch 4
> route 1 epoch 5
# The same attempt again, with the epoch that it was first sent with.
> wait 600 ms
< s1 to 1: open t1
< s2 to 1: prepare t2 #1 in epoch 1 with the whole
< s2 to 2: prepare t2 #1 in epoch 3
