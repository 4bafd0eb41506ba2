# A successor answers nothing before its predecessor's lease has ended on any clock
shard 1
lease 2000 ms
txn t1: 1 alice =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> restart
+ 0 Epoch 2
> ask t1 from c2
< c2: not leading, epoch 2
> wait 2000 ms
> single t1 from c3
< c3: not leading, epoch 2
> wait 2 ms
> wait 1 ms
< leading in epoch 2
< flush io1: alice = 1 @1
> single t1 from c4
+ 1 Barrier
> durable
< c4: t1 committed at @0 by 1.1
