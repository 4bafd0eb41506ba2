# A participant that holds a promise cannot close: it names the participants, so that the home is asked
shard 2
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> fence t1 from c2
< c2: t1 known: prepared, of 1 2
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> fence t1 from c3
> durable
< flush io1: bob = 1 @1
< tell 1: acknowledge t1 by 2
< c3: t1 known: committed at @0 by 1.2, of 1 2
