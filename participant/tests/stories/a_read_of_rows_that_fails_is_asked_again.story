# The rows of a read that failed are asked for again at the next tick
shard 1
txn t1: 1 alice +1
txn t2: 1 alice +1
store alice = 4 @-80

> single t1 from c1
< read io1: alice
> single t2 from c2
> read fails io1
> wait 10 ms
< read io2: alice
> rows io2
+ 1 CommitSingle t1 at @10000: alice
+ 2 CommitSingle t2 at @10008: alice
> durable
< flush io3: alice = 6 @10009
< c1: t1 committed at @10000 by 1.1
< c2: t2 committed at @10008 by 1.2
