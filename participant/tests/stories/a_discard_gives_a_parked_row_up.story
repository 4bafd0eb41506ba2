# What is discarded is never applied, by no later leader; what is written later is, and the row is read again
shard 1
store alice = 7 @-8
txn t1: 1 alice =1, bob =1
txn t2: 1 alice +5
txn t3: 1 orders/1/a =1, orders/1/b =2

> single t1 from c1 applied
+ 1 CommitSingle t1 at @0: alice, bob
> durable
< flush io1: alice = 1 @1, bob = 1 @1
< c1: t1 committed at @0 by 1.1
> flush refuses io1: alice
< flush io2: bob = 1 @1
< parked 1 of table 0: its column was dropped
> flushed io2
> discard parked alice
+ 2 Discard alice from @0 until @7
> durable
< c1: t1 applied
< c1: 1 discarded
> single t2 from c2
< read io3: alice
> rows io3
+ 3 CommitSingle t2 at @8: alice
> durable
< c2: t2 committed at @8 by 1.3
> wait 10 ms
< flush io4: alice = 12 @9
> flushed io4
> single t3 from c3
+ 4 CommitSingle t3 at @10000: orders/1/a, orders/1/b
> durable
< c3: t3 committed at @10000 by 1.4
> wait 10 ms
< flush io5: orders/1/a = 1 @10001, orders/1/b = 2 @10001
> flush refuses io5: orders/1/a, orders/1/b
< parked 2 of table 1: its column was dropped
> discard parked orders
+ 5 Discard orders/1/a from @10000 until @10007, orders/1/b from @10000 until @10007
> durable
< c1: 2 discarded
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: bob = 1 @1, alice = 12 @9
> wait 10 ms
> flushed io1
> read from c4: alice
< read io2: alice
> rows io2
< c4: rows in epoch 2 at 0: alice = 12 @9
