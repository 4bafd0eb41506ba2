# What stands in the log was validated under a version that the successor has not seen: it takes nothing before it has
shard 1
txn t1 newer: 2 a =1; 1 b =1
txn t2: 1 c =1
txn t3: 2 d =1; 1 e =1

> see newer
> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: b
> durable
< c1: t1 #1 yes at @0
> restart
+ 0 Epoch 2
< leading in epoch 2
> single t2 from c1
< c1: overloaded
> prepare t3 #1 from c1
< c1: t3 #1 no, newer version
> see newer
> single t2 from c1
+ 1 CommitSingle t2 at @8: c
> durable
< flush io1: c = 1 @9
< c1: t2 committed at @8 by 2.1
> checkpoint soon
> wait 10 ms
< sync io2
> synced io2
+ 2 Checkpoint chunk 0, the last
> durable
< checkpointed at p5, trim below p0
> restart from hint
+ 0 Epoch 3
< leading in epoch 3
< flush io1: c = 1 @9
> prepare t3 #1 from c1
< c1: t3 #1 no, newer version
