# What a shard proposes next is above every commit that it took part in
shard 2
txn t1: 1 alice =5; 2 bob =5
txn t2: 2 bob =6
txn t3: 2 carol =6

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> commit t1 #1 at @4000 from c1
+ 2 Commit t1 #1 at @4000
> single t2 from c2
+ 3 CommitSingle t2 at @4008: bob
> durable
< flush io1: bob = 5 @4001
< tell 1: acknowledge t1 by 2
< c2: t2 committed at @4008 by 1.3
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: bob = 6 @4009
> single t3 from c3
+ 1 CommitSingle t3 at @4016: carol
> durable
< c3: t3 committed at @4016 by 2.1
