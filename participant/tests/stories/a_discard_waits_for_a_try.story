# While the tables are asked again about a parked row nobody knows whether they take it: a discard waits for their answer
shard 1
txn t1: 1 alice =1
txn t2: 1 bob =2

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> flush refuses io1: alice
< parked 1 of table 0: its column was dropped
> retry parked
< flush io2: alice = 1 @1
> discard parked all
> flush fails io2
+ 2 Discard alice from @0 until @7
> durable
< c1: 1 discarded
> single t2 from c2
+ 3 CommitSingle t2 at @8: bob
> durable
< c2: t2 committed at @8 by 1.3
> wait 10 ms
< flush io3: bob = 2 @9
> flush refuses io3: bob
< parked 1 of table 0: its column was dropped
> retry parked
< flush io4: bob = 2 @9
> discard parked all
> flushed io4
< c1: 0 discarded
> durable
