# Round two confirms a read when nothing wrote its rows since, and nothing undecided covers them
shard 2
txn t1: 1 alice =1; 2 bob =7
txn t2: 2 bob =8
txn t3: 2 dave =8
store bob = 1 @-80

> read from c1: bob
< read io1: bob
> rows io1
< c1: rows in epoch 1 at 0: bob = 1 @-80
> confirm since 0 try 0 from c1: bob
< c1: try 0 unchanged
> single t3 from c2
+ 1 CommitSingle t3 at @0: dave
> confirm since 0 try 0 from c1: bob
> single t2 from c2
+ 2 CommitSingle t2 at @8: bob
> confirm since 0 try 0 from c1: bob
> durable
< flush io2: dave = 8 @1
< c2: t3 committed at @0 by 1.1
< c1: try 0 unchanged
< c2: t2 committed at @8 by 1.2
< c1: try 0 changed
> read from c1: bob
< c1: rows in epoch 1 at 2: bob = 8 @9
> confirm since 2 try 1 from c1: bob
< c1: try 1 unchanged
> prepare t1 #1 from c3
+ 3 Prepare t1 #1 at @16: bob
> confirm since 2 try 1 from c1: bob
> durable
< c3: t1 #1 yes at @16
< c1: try 1 changed
> commit t1 #1 at @800
+ 4 Commit t1 #1 at @800
> confirm since 2 try 2 from c1: bob
> durable
< tell 1: acknowledge t1 by 2
< c1: try 2 changed
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: dave = 8 @1, bob = 7 @801
# Sequences count anew in a new epoch: what was read in the old one cannot be confirmed.
> confirm epoch 1 since 4 try 2 from c1: bob
< c1: try 2 changed
