# A clock is compared as it was when the request was sent: what waited here is not taken for a wrong one
shard 2
txn t1: 1 alice =1; 2 bob =1
txn t2: 2 bob =2
txn t3: 2 bob =3

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> single t2 from c2
> single t3 clock -600 from c3
> wait 900 ms
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
+ 3 CommitSingle t2 at @900000: bob
> durable
< flush io1: bob = 2 @900001
< tell 1: acknowledge t1 by 2
< c2: t2 committed at @900000 by 1.3
< c3: t3 no, drift
