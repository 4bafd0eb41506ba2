# What is written to a parked row later is parked with it: the tables take all of it or nothing, and reads and sums see it
shard 1
txn t1: 1 alice =1
txn t2: 1 alice +5
txn t3: 1 alice note=6869, bob =3

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> flush refuses io1: alice
< parked 1 of table 0: its column was dropped
> single t2 from c2 applied
< read io2: alice
> rows io2
+ 2 CommitSingle t2 at @8: alice
> durable
< c2: t2 committed at @8 by 1.2
> wait 10 ms
> read from c3: alice
< c3: rows in epoch 1 at 2: alice = 6 @9
> single t3 from c4
+ 3 CommitSingle t3 at @10000: alice, bob
> durable
< flush io4: bob = 3 @10001
< c4: t3 committed at @10000 by 1.3
> flushed io4
> retry parked
< flush io5: alice = 6 @9 note of 6869 bytes @10001
> flushed io5
< c2: t2 applied
