# Recovery asks again while a shard is not led, and gives up when the shard that needs it will ask anew
txn t1: 1 alice -5; 2 bob +5

> recover t1 #1
< s1 to 1: resolve t1 #1
< s1 to 2: resolve t1 #1
> s1 from 2: not leading, epoch 2
> s1 from 1: t1 #1 resolved: prepared at @8
> wait 600 ms
< s1 to 2: resolve t1 #1
> wait 31000 ms
