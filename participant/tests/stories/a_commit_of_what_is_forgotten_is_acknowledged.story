# A participant that has forgotten a commit, as its floor allows, acknowledges it all the same
shard 2
limit window 600000
txn t1 at -599990: 1 alice =1; 2 bob =1
txn t2: 2 carol =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> finished t1
> single t2 from c2
+ 3 CommitSingle t2 at @8: carol
> durable
< flush io1: bob = 1 @1
< tell 1: acknowledge t1 by 2
< c2: t2 committed at @8 by 1.3
> wait 1100 ms
+ 4 Floor -598900
> durable
> ask t1 from c3
< c3: t1 known: too old, floor -598900
# The home lost its note that all was finished, and asks.
> commit t1 #1 at @0
< tell 1: acknowledge t1 by 2
> closed t1: fenced
< tell 1: acknowledge t1 by 2
