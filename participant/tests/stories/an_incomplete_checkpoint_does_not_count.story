# A checkpoint whose last chunk is not in the log does not count: the one before it does
shard 1
txn t1: 1 alice =1
txn t2: 1 bob note=1200000

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
< flush io3: bob note of 1200000 bytes @10001
< c1: t2 committed at @10000 by 1.3
> checkpoint soon
> wait 10 ms
< sync io4
> synced io4
+ 4 Checkpoint chunk 0
+ 5 Checkpoint chunk 1, the last
> durable
< checkpointed at p5, trim below p3
> lose record 6
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: bob note of 1200000 bytes @10001
> single t1 from c2
< c2: t1 committed at @0 by 1.1
> single t2 from c2
< c2: t2 committed at @10000 by 1.3
