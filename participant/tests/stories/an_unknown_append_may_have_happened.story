# What was appended before the crash is found by the next epoch, though nobody was told
shard 1
txn t1: 1 alice =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> crash after the append
> replay
> stand
+ 0 Epoch 2
> durable
> read on
< leading in epoch 2
< flush io1: alice = 1 @1
> single t1 from c2
< c2: t1 committed at @0 by 1.1
