# When an append fails or nobody knows, nothing that waited for it is said, and nothing more
shard 1
txn t1: 1 alice =1
txn t2: 1 bob if exists

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> single t2 from c2
< read io1: bob
> ask t1 from c3
> append fails
< halt: append in doubt, the disk is gone
> single t1 from c4
> wait 10 ms
> restart
+ 0 Epoch 2
< leading in epoch 2
> single t1 from c5
+ 1 CommitSingle t1 at @10000: alice
