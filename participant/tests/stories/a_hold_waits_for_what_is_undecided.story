# A hold is granted when nothing undecided covers its rows; a new try keeps the place, an old one is not heard
shard 2
txn t1: 1 alice =1; 2 bob =7
txn t2: 2 bob =9
store bob = 1 @-80

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> hold try 3 from c2: bob
< read io1: bob
> rows io1
> single t2 from c4
> hold try 4 from c2: bob
> hold try 3 from c2: bob
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
+ 3 CommitSingle t2 at @8: bob
> durable
< flush io2: bob = 9 @9
< tell 1: acknowledge t1 by 2
< c4: t2 committed at @8 by 1.3
< c2: try 4 held for 100 ms: bob = 9 @9
> release try 3 from c2
> release try 4 from c2
> durable
