# What nobody waits for any more is driven on for a while, then left to its home
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 carol =1

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> submit t2 as call 2
< s2 to 1: single t2
> read as call 3: 1 alice, 2 bob
< s3 to 1: read: alice
< s3 to 2: read: bob
> forget call 1
> forget call 2
> forget call 3
> wait 600 ms
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
< s2 to 1: single t2
> s1 from 1: t1 #1 yes at @8
> wait 31000 ms
