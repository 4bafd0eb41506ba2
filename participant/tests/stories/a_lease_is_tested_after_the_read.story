# An answer's lease is tested when it leaves, after the rows were read: it may have run out meanwhile
shard 1
lease 2000 ms
txn t1: 1 alice =1
store bob = 4 @-80

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> read only from c2: bob
< read io2: bob
> wait 2100 ms
> rows io2
+ 2 Barrier
> durable
< c2: rows in epoch 1 at 1: bob = 4 @-80
