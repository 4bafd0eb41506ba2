# A participant promises, commits, and tells the home until the home has heard it
shard 2
txn t1: 1 alice -5 if >= 5; 2 bob +5
store bob = 1 @-80

> prepare t1 #1 from c1
< read io1: bob
> rows io1
+ 1 Prepare t1 #1 at @0: bob
> prepare t1 #1 from c1
> durable
< c1: t1 #1 yes at @0
< c1: t1 #1 yes at @0
> commit t1 #1 at @24 applied from c1
+ 2 Commit t1 #1 at @24
> durable
< flush io2: bob = 6 @25
< tell 1: acknowledge t1 by 2
> flushed io2
< c1: t1 applied
> wait 2100 ms
< tell 1: acknowledge t1 by 2
> durable
# Lost: told again.
> wait 2100 ms
< tell 1: acknowledge t1 by 2
> finished t1
> wait 2100 ms
