# Recovery that finds every promise commits; one still being appended is waited for
shard 2
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> resolve t1 #1 from c2
> durable
< c1: t1 #1 yes at @0
< c2: t1 #1 resolved: prepared at @0
> restart
+ 0 Epoch 2
< leading in epoch 2
> resolve t1 #1 from c3
< c3: t1 #1 resolved: prepared at @0
> commit t1 #1 at @8 from c3
+ 1 Commit t1 #1 at @8
> durable
< flush io1: bob = 1 @9
< tell 1: acknowledge t1 by 2
> resolve t1 #1 from c4
< c4: t1 #1 resolved: committed at @8 by 2.1 as #1
> resolve t1 #2 from c4
< c4: t1 #2 resolved: committed at @8 by 2.1 as #1
