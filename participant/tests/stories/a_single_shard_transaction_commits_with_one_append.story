# A transaction of one shard commits with one append, and is answered once that is durable
shard 1
txn t1: 1 alice +5 if >= 3
store alice = 4 @-80

> single t1 from c1 applied
< read io1: alice
> rows io1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io2: alice = 9 @1
< c1: t1 committed at @0 by 1.1
> flushed io2
< c1: t1 applied
