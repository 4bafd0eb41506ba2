# After a no the gateway leaves the transaction to the home, which starts attempts one at a time
shard 1
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> abort t1 #1
+ 2 Abort t1 #1
> open t1 from c1
> durable
< c1: t1 opened in epoch 1
> wait 10 ms
< drive t1 #2
# While one is under way there is no other, and a gateway cannot start one.
> wait 10 ms
> prepare t1 #1b from c2
< c2: t1 #1b no, refused
> abort t1 #2
> wait 5 ms
> wait 10 ms
< drive t1 #3
> prepare t1 #3 from c9
+ 3 Prepare t1 #3 at @35000: alice, with the part of 2
> durable
< c9: t1 #3 yes at @35000
> commit t1 #3 at @35000
+ 4 Commit t1 #3 at @35000
> durable
< flush io1: alice = 1 @35001
< c1: t1 known: committed at @35000 by 1.4, of 1 2
