# A prepare that was sent to another leader is refused; the new leader's promise needs a new attempt
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> restart
+ 0 Epoch 2
< leading in epoch 2
> prepare t2 #1 epoch 1 from c2
< c2: t2 #1 no, led in epoch 2
# A promise that was given stands in whatever epoch.
> prepare t1 #1 epoch 1 from c1
< c1: t1 #1 yes at @0
> prepare t2 #1 epoch 2 from c2
+ 1 Prepare t2 #1 at @8: dave
> durable
< c2: t2 #1 yes at @8
