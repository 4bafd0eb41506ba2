# What every participant holds is logged, so that a restart need not ask for it again
shard 1
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> durable
< flush io1: alice = 1 @1
> acknowledge t1 by 2
< tell 2: finished t1 until -999
> wait 100 ms
+ 3 Finished t1
> durable
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: alice = 1 @1
> wait 2100 ms
> acknowledge t1 by 2
< tell 2: finished t1 until -999
