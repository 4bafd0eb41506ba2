# What is behind a gap of its epoch does not count, for every reader alike
shard 1
txn t1: 1 alice =1
txn t2: 1 bob =2
txn t3: 1 carol =3

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> single t2 from c1
+ 2 CommitSingle t2 at @8: bob
> single t3 from c1
+ 3 CommitSingle t3 at @16: carol
> crash after the append
# The epoch's record is p1; of three records in doubt the second never came.
> lose record 3
> replay
> stand
+ 0 Epoch 2
> durable
> read on
< leading in epoch 2
< flush io1: alice = 1 @1
> ask t1 from c2
< c2: t1 known: committed at @0 by 1.1
> ask t2 from c2
< c2: t2 known: nothing
> ask t3 from c2
< c2: t3 known: nothing
