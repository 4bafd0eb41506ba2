# A leader whose clock was set takes nothing by it: it resigns, and the log compares its clock anew
shard 1
lease 2000 ms
txn t1: 1 alice =1
txn t2: 1 alice =2
txn t3: 1 alice =3

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 1 @1
< c1: t1 committed at @0 by 1.1
> flushed io1
> clock set by 400 ms
> single t2 from c2
+ 2 CommitSingle t2 at @400000: alice
> durable
< c2: t2 committed at @400000 by 1.2
> clock set by 180000 ms
> single t3 from c3
< c3: overloaded
> wait 100 ms
< flush io2: alice = 2 @400001
> flushed io2
> wait 10 ms
+ 3 Resign
> durable
< halt: resigned
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: alice = 2 @400001
