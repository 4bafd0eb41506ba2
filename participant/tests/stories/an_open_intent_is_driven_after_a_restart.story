# A home that starts again recovers what it had promised, then drives what is open
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> open t2 from c2
+ 2 Intent t2
> durable
< c1: t1 #1 yes at @0
< c2: t2 opened in epoch 1
> restart
+ 0 Epoch 2
< leading in epoch 2
> wait 10 ms
< drive t2 #2
> wait 2100 ms
< recover t1 #1 of 1 2
< recover t2 #2 of 1 2
> abort t1 #1
+ 1 Abort t1 #1
> durable
> wait 10 ms
< drive t1 #2
> abort t2 #2
> wait 20 ms
< drive t2 #3
