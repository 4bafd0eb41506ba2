# An acknowledgement of what the home has forgotten is answered, so that the participant forgets too
shard 1
limit window 600000
txn t1 at -599990: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> durable
< c1: t1 #1 yes at @0
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> durable
< flush io1: alice = 1 @1
> acknowledge t1 by 2
< tell 2: finished t1 until -599990
> wait 1100 ms
+ 3 Finished t1
+ 4 Floor -598900
> durable
> ask t1 from c2
< c2: t1 known: too old, floor -598900
> acknowledge t1 by 2
< tell 2: finished t1 until -598900
# Never seen, and not below the floor: nothing is known of it.
> acknowledge t2 by 2
