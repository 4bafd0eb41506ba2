# Who expects a later epoch knows of another leader: only that one can promise or refuse
shard 2
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 epoch 2 from c1
< c1: not leading, epoch 1
> restart
+ 0 Epoch 2
< leading in epoch 2
> prepare t1 #1 epoch 2 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
