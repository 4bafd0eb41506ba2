# An attempt that was refused stays refused in this epoch, whatever became free since
shard 1
limit prepared 1
txn t1: 2 alice =1; 1 bob =1
txn t2: 2 carol =1; 1 dave =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> prepare t2 #1 from c2
> durable
< c1: t1 #1 yes at @0
< c2: t2 #1 no, overloaded
> abort t1 #1
+ 2 Abort t1 #1
> prepare t2 #1 from c2
> prepare t2 #2 from c3
+ 3 Prepare t2 #2 at @8: dave
> durable
< c2: t2 #1 no, refused
< c3: t2 #2 yes at @8
