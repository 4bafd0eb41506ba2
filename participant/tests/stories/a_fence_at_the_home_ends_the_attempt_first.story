# A fence at the home recovers the attempt that is prepared; what was committed stays so
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 carol =1; 2 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: alice, with the part of 2
> prepare t2 #1 from c1
+ 2 Prepare t2 #1 at @8: carol, with the part of 2
> durable
< c1: t1 #1 yes at @0
< c1: t2 #1 yes at @8
> fence t1 from c2
< recover t1 #1 of 1 2
> fence t2 from c3
< recover t2 #1 of 1 2
> abort t1 #1
+ 3 Abort t1 #1
+ 4 Close t1 of 1 2: fenced
> commit t2 #1 at @8
+ 5 Commit t2 #1 at @8
> durable
< c2: t1 known: closed: fenced, of 1 2
< flush io1: carol = 1 @9
< c3: t2 known: committed at @8 by 1.5, of 1 2
> fence t1 from c4
< c4: t1 known: closed: fenced, of 1 2
> acknowledge t1 by 2
< tell 2: finished t1 until -999
