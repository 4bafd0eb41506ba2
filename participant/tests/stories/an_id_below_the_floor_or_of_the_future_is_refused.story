# An id below the floor may have been forgotten, and one of the future would be remembered too long
shard 1
limit window 600000
txn t1: 1 alice =5
txn t2 at -599990: 1 bob =5
txn t3 at -599000: 1 bob =5
txn t4 at 300011: 1 bob =5
txn t5 at -599999: 1 carol =5; 2 dave =1

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 5 @1
< c1: t1 committed at @0 by 1.1
> wait 10 ms
+ 2 Floor -599990
# The floor counts as soon as it is decided, its answers go when it is durable.
> single t2 from c2
> prepare t5 #1 from c2
> single t3 from c3
+ 3 CommitSingle t3 at @10000: bob
> single t4 from c4
> ask t2 from c5
> durable
< c2: t2 too old, floor -599990
< c2: t5 #1 too old, floor -599990
< c3: t3 committed at @10000 by 1.3
< c4: t4 from the future
< c5: t2 known: too old, floor -599990
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: alice = 5 @1, bob = 5 @10001
> single t2 from c6
< c6: t2 too old, floor -599990
> fence t2 from c7
< c7: t2 known: too old, floor -599990
