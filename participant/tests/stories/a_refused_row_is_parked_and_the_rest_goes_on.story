# A row that the tables refuse is parked; the rest of the flush and what follows goes on; it is tried again
shard 1
txn t1: 1 alice =1, bob =1
txn t2: 1 carol =2
txn t3: 1 dave =3

> single t1 from c1 applied
+ 1 CommitSingle t1 at @0: alice, bob
> durable
< flush io1: alice = 1 @1, bob = 1 @1
< c1: t1 committed at @0 by 1.1
> flush refuses io1: alice
< flush io2: bob = 1 @1
< parked 1 of table 0: its column was dropped
> single t2 from c2 applied
+ 2 CommitSingle t2 at @8: carol
> durable
< c2: t2 committed at @8 by 1.2
> flushed io2
< flush io3: carol = 2 @9
> flushed io3
< c2: t2 applied
> await t1 from c3
> await t2 from c4
< c4: t2 applied
> read from c5: alice
< read io4: alice
> rows io4
< c5: rows in epoch 1 at 2: alice = 1 @1
> wait 20000 ms
> wait 10000 ms
< flush io5: alice = 1 @1
> flush refuses io5: alice
> single t3 from c6 applied
+ 3 CommitSingle t3 at @30000000: dave
> durable
< flush io6: dave = 3 @30000001
< c6: t3 committed at @30000000 by 1.3
> flushed io6
< c6: t3 applied
> wait 30000 ms
< flush io7: alice = 1 @1
> flushed io7
< c1: t1 applied
< c3: t1 applied
> await t1 from c7
< c7: t1 applied
