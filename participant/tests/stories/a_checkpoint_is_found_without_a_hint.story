# Without a hint the log is scanned from what is left of it; the last two checkpoints are
shard 1
txn t1: 1 alice =1
txn t2: 1 bob =1
txn t3: 1 carol =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> flushed io1
> checkpoint soon
> wait 10 ms
< sync io2
> synced io2
+ 2 Checkpoint chunk 0, the last
> durable
< checkpointed at p3, trim below p0
> single t2 from c1
+ 3 CommitSingle t2 at @10000: bob
> durable
< flush io3: bob = 1 @10001
< c1: t2 committed at @10000 by 1.3
> checkpoint soon
> wait 10 ms
< sync io4
> synced io4
+ 4 Checkpoint chunk 0, the last
> durable
< checkpointed at p5, trim below p3
> single t3 from c1
+ 5 CommitSingle t3 at @20000: carol
> durable
< c1: t3 committed at @20000 by 1.5
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: bob = 1 @10001, carol = 1 @20001
> single t1 from c2
< c2: t1 committed at @0 by 1.1
> single t2 from c2
< c2: t2 committed at @10000 by 1.3
> single t3 from c2
< c2: t3 committed at @20000 by 1.5
> restart from hint
+ 0 Epoch 3
< leading in epoch 3
< flush io1: bob = 1 @10001, carol = 1 @20001
> single t1 from c3
< c3: t1 committed at @0 by 1.1
> single t2 from c3
< c3: t2 committed at @10000 by 1.3
> single t3 from c3
< c3: t3 committed at @20000 by 1.5
