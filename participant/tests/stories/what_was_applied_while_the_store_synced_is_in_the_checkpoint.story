# A sync may not cover what was applied since it began: such rows are in the checkpoint
shard 1
txn t1: 1 alice =1
txn t2: 1 bob =2

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> flushed io1
> checkpoint soon
> single t2 from c1
+ 2 CommitSingle t2 at @8: bob
> wait 10 ms
< sync io2
> durable
< flush io3: bob = 2 @9
< c1: t2 committed at @8 by 1.2
> flushed io3
> synced io2
+ 3 Checkpoint chunk 0, the last
> durable
< checkpointed at p4, trim below p0
> restart from hint
+ 0 Epoch 2
< leading in epoch 2
< flush io1: bob = 2 @9
