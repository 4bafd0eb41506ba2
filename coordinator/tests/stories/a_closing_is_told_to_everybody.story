# A permanent reason found by one participant is answered at once and told to the others
txn t1: 1 alice -5; 2 bob -5 if >= 5; 3 carol +1

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
< s1 to 3: prepare t1 #1 in epoch 1
> s1 from 1: t1 #1 yes at @8
> s1 from 2: t1 #1 closed: condition 0 on bob found 4
< s1 to 1: closed t1: condition 0 on bob found 4
< s1 to 3: closed t1: condition 0 on bob found 4
< call 1: aborted, home 1, condition 0 on bob found 4
