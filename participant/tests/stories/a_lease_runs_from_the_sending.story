# A lease runs from the sending of a record, not from its acknowledgement
shard 1
lease 2000 ms
txn t1: 1 alice =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> wait 2500 ms
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> ask t1 from c2
+ 2 Barrier
> durable
< c2: t1 known: committed at @0 by 1.1
