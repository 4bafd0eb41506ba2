# A read that holds locks its rows in memory: writers wait until its time is over, or it is released
shard 2
txn t1: 2 bob =7
txn t2: 2 bob =8
store bob = 1 @-80

> hold try 3 from c2: bob
< read io1: bob
> rows io1
< c2: try 3 held for 100 ms: bob = 1 @-80
> single t1 from c1
> hold try 3 from c3: bob
> wait 50 ms
> wait 60 ms
+ 1 CommitSingle t1 at @110000: bob
> durable
< flush io2: bob = 7 @110001
< c1: t1 committed at @110000 by 1.1
< c3: try 3 held for 100 ms: bob = 7 @110001
> release try 3 from c3
> single t2 from c1
+ 2 CommitSingle t2 at @110008: bob
> durable
< c1: t2 committed at @110008 by 1.2
