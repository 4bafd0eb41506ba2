# A shard that proposes far ahead of its clock sheds load, and of a coordinator's clock says no
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 2 carol =1
txn t3: 1 alice =1; 2 dave =1
txn t4: 2 carol =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> commit t1 #1 at @260000
+ 2 Commit t1 #1 at @260000
> single t2 from c2
< c2: overloaded
> wait 20 ms
> prepare t3 #1 clock -300 from c3
> single t4 clock -300 from c4
> prepare t3 #2 from c3
+ 3 Prepare t3 #2 at @260008: dave
> durable
< flush io1: bob = 1 @260001
< tell 1: acknowledge t1 by 2
< c3: t3 #1 no, drift
< c4: t4 no, drift
< c3: t3 #2 yes at @260008
