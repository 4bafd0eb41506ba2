# A checkpoint carries what is parked; the next leader asks the tables again, and parks it again
shard 1
txn t1: 1 alice =1, bob =1
txn t2: 1 carol =2

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice, bob
> durable
< flush io1: alice = 1 @1, bob = 1 @1
< c1: t1 committed at @0 by 1.1
> flush refuses io1: alice
< flush io2: bob = 1 @1
< parked 1 of table 0: its column was dropped
> flushed io2
> checkpoint soon
> wait 10 ms
< sync io3
> synced io3
+ 2 Checkpoint chunk 0, the last
> durable
< checkpointed at p3, trim below p0
> single t2 from c2
+ 3 CommitSingle t2 at @10000: carol
> durable
< flush io4: carol = 2 @10001
< c2: t2 committed at @10000 by 1.3
> restart from hint
+ 0 Epoch 2
< leading in epoch 2
< flush io1: alice = 1 @1, carol = 2 @10001
> wait 10 ms
> flush refuses io1: alice
< flush io2: carol = 2 @10001
< parked 1 of table 0: its column was dropped
> flushed io2
> await t1 from c3
> retry parked
< flush io3: alice = 1 @1
> flushed io3
< c3: t1 applied
> durable
